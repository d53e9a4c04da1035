!> What the physics of a step made of the state, whoever ran in it: the history fields DTPHYS,
!! DQ1PHYS and so on, which evaluation compares between runs. The ClimSim fork's own diagnostics
!! have fields of these names; a build for its driver leaves them alone.
module mmf_nn_changes
  use cam_history, only: addfld, outfld
  use mmf_nn_fields, only: chunk_fields, fields_taken, n_taken, named_field
  use mmf_nn_surface, only: profiles_of
  use physics_types, only: physics_state
  use ppgrid, only: begchunk, endchunk
  use shr_kind_mod, only: r8 => shr_kind_r8
  implicit none (type, external)
  private

  public :: add_changes, note_state, write_changes, change_name

#ifdef CLIMLINK_FORK_HISTORY
  logical, parameter :: others_write_them = .true.
#else
  logical, parameter :: others_write_them = .false.
#endif

  logical :: added = .false.
  type(chunk_fields), allocatable, target :: before(:)       !! Of the chunks, since note_state.

contains

  !> The field of a tendency: DTPHYS of ptend_t, DQ1PHYS of ptend_q0001.
  pure function change_name(tendency) result(name)
    character(len=*), intent(in) :: tendency
    character(len=:), allocatable :: name
    character(len=1) :: letter
    integer :: i

    name = 'D'
    do i = index(tendency, '_') + 1, len_trim(tendency)
      letter = tendency(i:i)
      if (letter == '0') cycle
      if (letter >= 'a' .and. letter <= 'z') letter = achar(iachar(letter) - 32)
      name = name // letter
    end do
    name = name // 'PHYS'
  end function change_name

  !> Registers the fields.
  subroutine add_changes()
    type(chunk_fields), target :: nothing
    type(named_field) :: list(n_taken)
    integer :: i

    if (others_write_them) return
    added = .true.
    list = fields_taken(nothing)
    do i = 1, size(list)
      if (list(i)%is_profile) call addfld(change_name(list(i)%name), ['lev'], 'A', &
                                          trim(list(i)%units), &
                                          'change by the emulated part of the physics')
    end do
  end subroutine add_changes

  !> Notes the state before the physics of a step.
  subroutine note_state(state)
    type(physics_state), intent(in) :: state(begchunk:)
    integer :: c

    if (.not. added) return
    if (.not. allocated(before)) allocate (before(begchunk:endchunk))
    do c = begchunk, endchunk
      call profiles_of(state(c), before(c))
    end do
  end subroutine note_state

  !> Writes what has changed since note_state.
  subroutine write_changes(state, time_step)
    type(physics_state), intent(in) :: state(begchunk:)
    real(r8), intent(in) :: time_step                        !! [s]
    type(chunk_fields), target :: after
    type(named_field) :: old(n_taken), new(n_taken)
    integer :: c, i

    if (.not. added) return
    do c = begchunk, endchunk
      call profiles_of(state(c), after)
      old = fields_taken(before(c))
      new = fields_taken(after)
      do i = 1, size(new)
        if (new(i)%is_profile) call outfld(change_name(new(i)%name), (new(i)%profile &
                                           - old(i)%profile) / time_step, state(c)%ncol, c)
      end do
    end do
  end subroutine write_changes

end module mmf_nn_changes
