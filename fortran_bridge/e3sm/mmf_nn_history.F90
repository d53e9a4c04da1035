!> History fields of the adapter: raw answers of the package with its confidence, the weight of the
!! emulator, and what the old post-processing did. Their names are NN_ with the output's name.
!! Confidence has the names of the published fork.
module mmf_nn_history
  use cam_history, only: addfld, horiz_only, outfld
  use climlink, only: climlink_emulator, climlink_host_fields, climlink_status, climlink_variable
  use mmf_nn_changes, only: change_name
  use mmf_nn_errors, only: stop_if_failed
  use mmf_nn_fields, only: remap
  use mmf_nn_legacy, only: legacy_counts
  use mmf_nn_range_use, only: range_use
  use physics_types, only: physics_state
  use ppgrid, only: pver
  use shr_kind_mod, only: r8 => shr_kind_r8
  implicit none (type, external)
  private

  public :: add_history, write_raw_history, write_range_use, write_weight, write_water_fix
  public :: write_legacy_history

contains

  !> Registers the fields.
  subroutine add_history(emulator, with_legacy, with_fixer)
    type(climlink_emulator), intent(in) :: emulator          !! Open.
    logical, intent(in) :: with_legacy, with_fixer
    character(len=*), parameter :: meaning = &
      'answer of the emulator before anything is done to it: '
    type(climlink_variable) :: output
    integer :: i

    do i = 1, emulator%n_output()
      output = emulator%output(i)
      if (output%width > 1) then
        call addfld(field_name(output%name), ['lev'], 'A', output%units, meaning // output%name)
      else
        call addfld(field_name(output%name), horiz_only, 'A', output%units, meaning // output%name)
      end if
    end do
    call addfld('NN_WEIGHT', horiz_only, 'A', '1', 'weight of the emulator in what is applied')
    if (emulator%has_range_policy()) then
      call addfld('NN_RANGE_HEAT', horiz_only, 'A', 'W/m2', &
                  'heating by relaxation toward the training range, without its sign')
      call addfld('NN_RANGE_MASS', horiz_only, 'A', '1', 'share of the mass that is relaxed')
      call addfld('NN_RANGE_CLIPPED', horiz_only, 'A', '1', &
                  'values that the network sees clipped, per step')
    end if
    if (with_fixer) call addfld('NN_FIXER_WATER', horiz_only, 'A', 'kg/m2/s', &
                                'precipitation that the global water fixer added')
    if (.not. with_legacy) return
    call addfld('NN_CLIPPED', horiz_only, 'A', '1', &
                'negative surface fields that were set to zero, per step')
    call addfld('NN_LIMITED', horiz_only, 'A', '1', &
                'levels and fields that the limiter changed, per step')
    call addfld('NN_LIMITER_HEAT', horiz_only, 'A', 'W/m2', 'heat that the limiter added')
    call addfld('NN_LIMITER_WATER', horiz_only, 'A', 'kg/m2/s', 'water that the limiter added')
    call addfld('TROP_IND', horiz_only, 'A', '1', 'level of the tropopause')
  end subroutine add_history

  !> History name of an output: at most 24 characters, as older versions of the model allow.
  !! Confidence is named as in the published fork: DTPHYSCONF, DQ1PHYSCONF, NETSWCONF.
  pure function field_name(output) result(name)
    character(len=*), intent(in) :: output
    character(len=:), allocatable :: name
    integer :: tendency, surface

    name = 'NN_' // trim(output)
    if (index(output, 'confidence_') /= 1) return
    tendency = index(output, 'ptend_')
    surface = index(output, 'cam_out_')
    if (tendency > 0) then
      name = change_name(trim(output(tendency:))) // 'CONF'
    else if (surface > 0) then
      name = trim(output(surface + len('cam_out_'):)) // 'CONF'
    else
      name = 'NN_conf_' // trim(output(len('confidence_') + 1:))
    end if
  end function field_name

  !> Writes one chunk of all outputs as the package gave them, on the levels of the model.
  subroutine write_raw_history(emulator, first, state)
    type(climlink_emulator), intent(in), target :: emulator
    integer, intent(in) :: first                            !! Position of the chunk's first column.
    type(physics_state), intent(in), target :: state
    real(r8), allocatable, target :: values(:, :, :)        !! [column, level, output]
    type(climlink_host_fields) :: table
    type(climlink_status) :: status
    type(climlink_variable) :: output
    integer :: i, n

    n = state%ncol
    allocate (values(n, pver, emulator%n_output()))
    call table%begin(n)
    call table%remap_levels(remap, state%pint)
    do i = 1, emulator%n_output()
      output = emulator%output(i)
      if (output%width > 1) then
        call table%add_profile(output%name, output%units, values(:, :, i), taken=.true.)
      else
        call table%add_scalar(output%name, output%units, values(:, 1, i), taken=.true.)
      end if
    end do
    call table%receive(emulator, status, first)
    call stop_if_failed(status, 'history: ')
    do i = 1, emulator%n_output()
      output = emulator%output(i)
      if (output%width > 1) then
        call outfld(field_name(output%name), values(:, :, i), n, state%lchnk)
      else
        call outfld(field_name(output%name), values(:, 1, i), n, state%lchnk)
      end if
    end do
  end subroutine write_raw_history

  !> Writes how much the range policy held one chunk, whose first column of the step is first.
  subroutine write_range_use(use, first, n_column, lchnk)
    type(range_use), intent(in) :: use                       !! Of all columns of the step.
    integer, intent(in) :: first, n_column, lchnk
    integer :: last

    last = first + n_column - 1
    call outfld('NN_RANGE_HEAT', use%heating(first:last), n_column, lchnk)
    call outfld('NN_RANGE_MASS', use%mass_share(first:last), n_column, lchnk)
    call outfld('NN_RANGE_CLIPPED', use%clipped(first:last), n_column, lchnk)
  end subroutine write_range_use

  !> Writes the weight of the emulator in one chunk.
  subroutine write_weight(weight, n_column, lchnk)
    real(r8), intent(in) :: weight
    integer, intent(in) :: n_column, lchnk
    real(r8) :: values(n_column)

    values = weight
    call outfld('NN_WEIGHT', values, n_column, lchnk)
  end subroutine write_weight

  !> Writes what the global water fixer added in one chunk.
  subroutine write_water_fix(added, n_column, lchnk)
    real(r8), intent(in) :: added(:)                         !! [column], kg/m2/s.
    integer, intent(in) :: n_column, lchnk

    call outfld('NN_FIXER_WATER', added(:n_column), n_column, lchnk)
  end subroutine write_water_fix

  !> Writes what the old post-processing did in one chunk.
  subroutine write_legacy_history(counts, n_column, lchnk)
    type(legacy_counts), intent(in) :: counts
    integer, intent(in) :: n_column, lchnk

    call outfld('NN_CLIPPED', counts%clipped, n_column, lchnk)
    call outfld('NN_LIMITED', counts%limited, n_column, lchnk)
    call outfld('NN_LIMITER_HEAT', counts%heat_source, n_column, lchnk)
    call outfld('NN_LIMITER_WATER', counts%water_source, n_column, lchnk)
    call outfld('TROP_IND', counts%tropopause, n_column, lchnk)
  end subroutine write_legacy_history

end module mmf_nn_history
